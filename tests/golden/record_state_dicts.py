"""Add upstream's state dict of every config that ``state_dicts.json`` doesn't have: needs Detectron2.

python tests/golden/record_state_dicts.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from detectron2.modeling import build_model

from cardamage.config import get_cfg
from cardamage.errors import ConfigValueError
from cardamage.interop.config import refuse_own_parts, to_upstream

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
RECORD = HERE / "state_dicts.json"


def main() -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    for path in sorted(CONFIGS.rglob("*.yaml")):
        name = path.relative_to(CONFIGS).as_posix()
        if name.startswith("bases/") or name in recorded:
            continue
        cfg = get_cfg()
        cfg.merge_from_file(str(path))
        try:
            refuse_own_parts(cfg)
        except ConfigValueError:
            continue
        cfg.MODEL.DEVICE = "meta"
        with torch.device("meta"):
            state = build_model(to_upstream(cfg)).state_dict()
        lines = sorted(f"{entry} {tuple(value.shape)}" for entry, value in state.items())
        recorded[name] = {
            "count": len(lines),
            "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        }
        print(f"{name}: {len(lines)} entries")
    rows = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(recorded.items()))
    RECORD.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
