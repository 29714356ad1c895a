"""Change of head pose, read by a second public network."""

from __future__ import annotations

from invbench.metrics.age_pose import AgeChangeDex

SPECS = [
    {
        "id": "yaw_change_sixd",
        "class": "YawChangeSixD",
        "title": "Yaw change by 6DRepNet (edited - inverted)",
        "kind": "edit",
        "better": "none",
        "unit": "degrees",
        "range": "[-180, 180]",
        "roles": ["pose_second"],
        "edits": ["yaw"],
        "protocols": ["hopenet224"],
        "summary": "As yaw_change_pose, by another network; positive = the face turns to the left of the picture.",
        "reference": "sixdrepnet.SixDRepNet of thohemp/6DRepNet",
    },
]


class YawChangeSixD(AgeChangeDex):
    """6DRepNet's yaw of the edited picture minus that of the reconstruction -> float64 [N] in degrees; signs as Hopenet's."""

    metric, role, reading = "yaw_change_sixd", "pose_second", "yaw"
