"""Class names and colors of the built-in datasets."""

from __future__ import annotations

__all__ = [
    "CARDD_CLASSES",
    "CARDD_COLORS",
    "CARPARTS_CLASSES",
    "CARPARTS_COLORS",
    "CAR_DAMAGE_CLASSES",
    "CAR_DAMAGE_COLORS",
    "CAR_DAMAGE_PARTS_CLASSES",
    "CAR_DAMAGE_PARTS_COLORS",
    "CITYSCAPES_THINGS",
    "COCO_CLASSES",
    "COCO_IDS",
    "COCO_PERSON_KEYPOINT_FLIP_MAP",
    "COCO_PERSON_KEYPOINT_NAMES",
    "VEHIDE_CLASSES",
    "VEHIDE_COLORS",
]

CARDD_CLASSES = ("dent", "scratch", "crack", "glass shatter", "lamp broken", "tire flat")
CARDD_COLORS = ((230, 97, 1), (253, 184, 99), (178, 24, 43), (94, 60, 153), (255, 217, 47), (27, 120, 55))

CARPARTS_CLASSES = (
    "back_bumper",
    "back_glass",
    "back_left_door",
    "back_left_light",
    "back_right_door",
    "back_right_light",
    "front_bumper",
    "front_glass",
    "front_left_door",
    "front_left_light",
    "front_right_door",
    "front_right_light",
    "hood",
    "left_mirror",
    "right_mirror",
    "tailgate",
    "trunk",
    "wheel",
)

# One hue for each kind of part; left is the lighter of the two sides.
CARPARTS_COLORS = (
    (31, 119, 180),
    (23, 190, 207),
    (152, 223, 138),
    (255, 152, 150),
    (44, 160, 44),
    (214, 39, 40),
    (57, 59, 121),
    (158, 218, 229),
    (206, 219, 156),
    (255, 187, 120),
    (99, 121, 57),
    (255, 127, 14),
    (148, 103, 189),
    (247, 182, 210),
    (227, 119, 194),
    (140, 86, 75),
    (188, 189, 34),
    (127, 127, 127),
)

CAR_DAMAGE_CLASSES = ("damage",)
CAR_DAMAGE_COLORS = ((230, 97, 1),)

CAR_DAMAGE_PARTS_CLASSES = ("headlamp", "rear_bumper", "door", "hood", "front_bumper")
CAR_DAMAGE_PARTS_COLORS = ((255, 187, 120), (31, 119, 180), (44, 160, 44), (148, 103, 189), (57, 59, 121))

# VehiDE's names in Vietnamese, and ours: CarDD's where both mean the same, so that the sets train together.
VEHIDE_CLASSES = {
    "mop_lom": "dent",
    "tray_son": "scratch",
    "rach": "tear",
    "vo_kinh": "glass shatter",
    "be_den": "lamp broken",
    "thung": "puncture",
    "mat_bo_phan": "missing part",
}
VEHIDE_COLORS = (
    (230, 97, 1),
    (253, 184, 99),
    (178, 24, 43),
    (94, 60, 153),
    (255, 217, 47),
    (116, 173, 209),
    (99, 99, 99),
)

COCO_CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,"
    "umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,"
    "bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush".split(",")
)

# COCO's category ids run to 90; ten of the objects first planned were never annotated.
COCO_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))

_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_PERSON_KEYPOINT_NAMES = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
COCO_PERSON_KEYPOINT_FLIP_MAP = tuple((f"left_{part}", f"right_{part}") for part in _SIDED)

# Cityscapes' label id of each class that has objects and is evaluated.
CITYSCAPES_THINGS = {
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
