"""Shows pictures of high dynamic range (HLG and PQ, ITU-R BT.2100) as pictures of standard range.

Light is scaled so that diffuse white, 203 cd/m2 (ITU-R BT.2408), becomes white; what is brighter is white, too. Colours
go from BT.2020 to BT.709, and are coded with a gamma of 2.4 (BT.1886). So a clip that was made of a standard one shows
what that showed.
"""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["sdr", "hlg", "pq"]
TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""By FFmpeg's number of the transfer characteristic (AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67; ITU-T H.273)."""
WHITE = 203.0
"""Diffuse white in cd/m2."""
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
"""Of the display that HLG is shown on: its peak in cd/m2, and the system gamma that goes with it."""
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Of BT.2020's red, green and blue."""
TO_709 = np.linalg.inv(
    [
        [0.627403895934699, 0.329283038377884, 0.043313065687417],
        [0.069097289358232, 0.919540395075459, 0.011362315566309],
        [0.016391438875150, 0.088013307877226, 0.895595253247624],
    ]
).astype(np.float32)
"""BT.2020's primaries to BT.709's, for columns of linear light: the inverse of ITU-R BT.2087's matrix."""
UNTAGGED = 2
"""FFmpeg's number where a frame doesn't say how colours became luma and chroma (AVCOL_SPC_UNSPECIFIED)."""
LEVELS = 4096


def transfer_of(frame: Any) -> Transfer:
    """How a decoded frame codes light."""
    return TRANSFERS.get(int(frame.color_trc), "sdr")


def to_sdr(pictures: NDArray[np.uint16], transfer: Transfer) -> NDArray[np.uint8]:
    """Show a picture.

    Args:
        pictures: (H, W, 3), BT.2020 as coded, all 16 bits used.
        transfer: hlg or pq.

    Returns:
        uint8 (H, W, 3), BT.709.
    """
    light = _light(transfer)[pictures >> 4]
    if transfer == "hlg":  # what the scene sent out, not yet what the display shows
        scene = np.maximum(light @ LUMINANCE, np.float32(1e-6))
        light *= (np.float32(HLG_PEAK / WHITE) * scene ** np.float32(HLG_GAMMA - 1))[..., None]
    light = light @ TO_709.T
    steps = np.sqrt(np.clip(light, 0, 1)) * (LEVELS - 1)  # evenly enough for the eye
    shown: NDArray[np.uint8] = _codes()[(steps + 0.5).astype(np.uint16)]
    return shown


@lru_cache
def _light(transfer: Transfer) -> NDArray[np.float32]:
    """Linear light of every coded level: of PQ as a multiple of white, of HLG as a share of the scene's peak."""
    coded = np.arange(LEVELS) / (LEVELS - 1)
    if transfer == "pq":  # BT.2100, table 4
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = coded ** (1 / m2)
        return np.asarray(1e4 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / WHITE, np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073  # BT.2100, table 5
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12).astype(np.float32)


@lru_cache
def _codes() -> NDArray[np.uint8]:
    """The byte of every square root of linear light."""
    root = np.arange(LEVELS) / (LEVELS - 1)
    return np.rint(255 * (root**2) ** (1 / 2.4)).astype(np.uint8)
