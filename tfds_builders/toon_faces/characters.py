"""The six people of toon_faces: what they look like.

Lengths are pixels of the 256 x 256 picture around (0, 0), the middle of the head; x to the right,
y down. Eyes lie near y = 0, brows near -34, the mouth near 50.
"""

import dataclasses

Color = tuple[int, int, int]
Points = tuple[tuple[float, float], ...]
Circles = tuple[tuple[float, float, float], ...]  # x, y, radius


@dataclasses.dataclass(frozen=True)
class Character:
    """How one person looks."""

    name: str
    skin: Color
    hair: Color
    brow: Color
    lips: Color
    iris: Color
    clothes: Color
    trim: Color  # collar, ribbons
    head: Points  # right half of the outline, from crown to chin
    hair_back: tuple[Points, ...] = ()  # closed curves behind head and shoulders
    hair_front: tuple[Points, ...] = ()  # closed curves over forehead and temples
    strands: tuple[Points, ...] = ()  # open curves on the front hair
    curls_back: Circles = ()
    curls_front: Circles = ()
    beard: Points = ()
    beard_strands: tuple[Points, ...] = ()
    eye_x: float = 31.0
    eye_width: float = 19.0
    eye_height: float = 19.0
    iris_radius: float = 10.5
    brow_thickness: float = 8.0
    brow_length: float = 38.0
    lashes: bool = False
    upper_lip: float = 4.0  # thickness
    lower_lip: float = 5.0
    mouth_scale: float = 1.12
    nose_width: float = 10.0
    nose_y: float = 24.0
    ear: float = 15.0  # half height
    neck: float = 27.0  # half width
    shoulders: float = 92.0  # half width
    collar: str = "crew"  # crew, v, shirt or hood
    glasses: Color = (150, 118, 92)
    glasses_share: float = 0.12  # of the pictures
    earrings: Color | None = None
    ribbons: bool = False
    freckles: bool = False
    wrinkles: bool = False
    blush: float = 0.3


def _both_sides(*points: tuple[float, float]) -> tuple[Points, Points]:
    """A curve and its mirror image."""
    return points, tuple((-x, y) for x, y in points)


def _pairs(*circles: tuple[float, float, float]) -> Circles:
    """Circles and their mirror images; those in the middle once."""
    return tuple((side * x, y, r) for x, y, r in circles for side in ((-1, 1) if x else (1,)))


_PEOPLE = (
    Character(  # man of 60, olive skin, bald, gray chin beard, large nose and ears
        name="bruno", skin=(214, 160, 118), hair=(150, 148, 152), brow=(66, 62, 68),
        lips=(178, 104, 88), iris=(88, 104, 92), clothes=(88, 112, 92), trim=(238, 232, 218),
        head=((0, -96), (40, -90), (64, -64), (70, -20), (71, 16), (66, 52), (44, 84), (0, 94)),
        curls_back=_pairs((71, -24, 15), (75, -8, 13), (73, 8, 11)),
        beard=((66, -4), (75, 22), (70, 56), (46, 90), (0, 103), (-46, 90), (-70, 56), (-75, 22),
            (-66, -4), (-63, 24), (-53, 52), (-34, 74), (0, 80), (34, 74), (53, 52), (63, 24)),
        beard_strands=(((-4, 83), (-6, 90), (-4, 98)), ((14, 82), (16, 88), (13, 95)),
            ((-20, 82), (-24, 87), (-24, 93)), ((34, 78), (39, 81), (41, 86)),
            ((-37, 77), (-43, 79), (-46, 83)), ((56, 54), (61, 57), (64, 62)),
            ((-56, 54), (-61, 57), (-64, 62)), ((64, 30), (69, 34), (71, 40)),
            ((-64, 30), (-69, 34), (-71, 40))),
        eye_width=17, eye_height=17, iris_radius=9.5, brow_thickness=10.5, brow_length=40,
        upper_lip=3, lower_lip=4, nose_width=17, nose_y=26, ear=19, neck=34, shoulders=104,
        collar="shirt", wrinkles=True,
    ),
    Character(  # woman of 70, rosy skin, curled white hair, round glasses
        name="greta", skin=(246, 212, 192), hair=(226, 224, 232), brow=(104, 92, 104),
        lips=(206, 92, 104), iris=(82, 132, 178), clothes=(150, 108, 170), trim=(244, 236, 240),
        glasses=(196, 92, 84), earrings=(250, 248, 244),
        head=((0, -84), (36, -79), (60, -54), (67, -14), (71, 20), (67, 52), (42, 80), (0, 89)),
        curls_back=_pairs((0, -92, 26), (32, -88, 26), (58, -70, 26), (76, -44, 25), (82, -14, 23),
            (80, 14, 20), (72, 36, 16)),
        curls_front=_pairs((62, -44, 15), (48, -62, 17), (26, -74, 18), (0, -79, 18)),
        eye_width=17.5, eye_height=17.5, iris_radius=10, lashes=True, brow_thickness=7,
        brow_length=34, lower_lip=4.5, neck=25, shoulders=88, collar="shirt", glasses_share=0.85,
        wrinkles=True, blush=0.6,
    ),
    Character(  # boy of 14, light skin, black spiky hair, narrow dark eyes
        name="kenji", skin=(250, 216, 172), hair=(38, 40, 56), brow=(34, 32, 42),
        lips=(214, 132, 112), iris=(62, 42, 34), clothes=(62, 118, 178), trim=(240, 240, 240),
        head=((0, -84), (38, -80), (65, -54), (72, -10), (68, 24), (52, 58), (26, 82), (0, 88)),
        hair_front=(((-72, -4), (-72, -4), (-84, -34), (-96, -52), (-96, -52), (-82, -64),
            (-86, -92), (-86, -92), (-60, -90), (-46, -116), (-46, -116), (-22, -102), (4, -122),
            (4, -122), (24, -102), (56, -114), (56, -114), (62, -90), (90, -88), (90, -88),
            (82, -62), (97, -48), (97, -48), (84, -32), (72, -4), (72, -4), (67, -38), (62, -54),
            (62, -54), (48, -66), (34, -61), (34, -61), (22, -70), (6, -61), (6, -61), (-8, -72),
            (-26, -61), (-26, -61), (-40, -70), (-58, -52), (-58, -52), (-66, -38)),),
        strands=(((-40, -98), (-30, -86), (-26, -72)), ((4, -106), (6, -90), (2, -74)),
            ((48, -100), (42, -88), (40, -74))),
        eye_height=17, iris_radius=10, brow_length=36, upper_lip=3, lower_lip=4, nose_width=8.5,
        nose_y=23, ear=17, neck=22, shoulders=82, collar="hood", blush=0.45,
    ),
    Character(  # man of 30, dark skin, round afro, goatee
        name="kofi", skin=(152, 100, 70), hair=(44, 31, 32), brow=(30, 19, 18), lips=(198, 108, 98),
        iris=(74, 44, 24), clothes=(242, 178, 60), trim=(208, 92, 58),
        head=((0, -86), (36, -80), (61, -54), (68, -12), (67, 22), (60, 58), (37, 83), (0, 92)),
        curls_back=_pairs((0, -62, 62), (46, -58, 46), (72, -28, 36), (78, 4, 26), (28, -92, 36),
            (0, -100, 30), (62, -80, 30), (92, -48, 24)),
        curls_front=_pairs((0, -95, 17), (26, -91, 17), (48, -80, 16), (62, -66, 15), (72, -48, 14),
            (71, -26, 8), (71, -41, 9), (66, -57, 10), (53, -72, 11), (37, -80, 11), (18, -84, 11),
            (0, -85, 11)),
        beard=((-19, 81), (0, 79), (19, 81), (22, 88), (14, 97), (0, 100), (-14, 97), (-22, 88)),
        eye_width=19.5, brow_thickness=9.5, upper_lip=5.5, lower_lip=7, nose_width=14, neck=32,
        shoulders=102, collar="v", blush=0.25,
    ),
    Character(  # woman of 25, brown skin, long black hair parted in the middle
        name="mira", skin=(205, 148, 104), hair=(62, 38, 40), brow=(48, 28, 26), lips=(188, 74, 84),
        iris=(96, 62, 30), clothes=(34, 138, 136), trim=(244, 208, 120), earrings=(244, 200, 96),
        head=((0, -86), (36, -81), (61, -56), (69, -14), (66, 22), (54, 54), (30, 80), (0, 90)),
        hair_back=(((0, -107), (50, -99), (84, -66), (93, -10), (98, 50), (106, 108), (84, 150),
            (-84, 150), (-106, 108), (-98, 50), (-93, -10), (-84, -66), (-50, -99)),),
        hair_front=_both_sides((3, -104), (-44, -98), (-80, -66), (-88, -10), (-84, 44), (-80, 44),
            (-74, 4), (-69, -28), (-58, -54), (-28, -73), (3, -80)),
        strands=_both_sides((8, -98), (44, -84), (66, -54), (76, -14)),
        eye_width=20.5, eye_height=18, iris_radius=11, lashes=True, brow_thickness=7,
        brow_length=37, upper_lip=5, lower_lip=6.5, neck=23, shoulders=84, blush=0.4,
    ),
    Character(  # girl of 9, fair freckled skin, orange pigtails
        name="nell", skin=(254, 222, 200), hair=(226, 112, 48), brow=(168, 76, 34),
        lips=(224, 112, 112), iris=(72, 146, 92), clothes=(236, 98, 112), trim=(92, 190, 200),
        head=((0, -84), (42, -79), (68, -52), (75, -8), (73, 28), (58, 60), (32, 80), (0, 86)),
        hair_back=_both_sides((66, -40), (90, -54), (112, -42), (122, -8), (116, 34), (102, 66),
            (102, 66), (97, 42), (90, 16), (76, -16)),
        hair_front=(((-4, -103), (42, -97), (74, -70), (83, -30), (79, 8), (79, 8), (72, -16),
            (66, -38), (58, -60), (58, -60), (40, -68), (30, -59), (30, -59), (16, -70), (0, -61),
            (0, -61), (-10, -72), (-30, -60), (-30, -60), (-42, -68), (-58, -58), (-58, -58),
            (-66, -38), (-72, -16), (-79, 8), (-79, 8), (-83, -30), (-74, -70), (-44, -97)),),
        strands=(((-8, -99), (10, -90), (24, -70)), ((-12, -98), (-10, -86), (-4, -72)),
            ((-18, -96), (-30, -86), (-34, -70)), ((4, -99), (36, -90), (58, -68)),
            ((-26, -95), (-50, -84), (-62, -64)), ((20, -98), (56, -82), (72, -46))),
        eye_x=32, eye_width=21, eye_height=21, iris_radius=12, brow_thickness=7.5, brow_length=34,
        upper_lip=3, lower_lip=4, nose_width=8, nose_y=22, ear=14, neck=19, shoulders=74,
        ribbons=True, freckles=True, blush=0.6,
    ),
)  # fmt: skip
CHARACTERS = {character.name: character for character in _PEOPLE}
