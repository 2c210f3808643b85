"""Pictures, sounds and films: reading files, converting them for a server, and image arms.

- ``open_images`` reads pictures, PDF pages and DICOM frames for a task.
- ``ready_messages`` converts the media of a request to what its backend takes; ``ready_soon`` does so in a
  thread.
- ``row_image`` reads the picture in a row of a data set.
- ``interleaved`` puts pictures at the markers of a text.
- ``in_arm`` replaces the pictures of samples: real, blank, shuffled, none.
"""

from __future__ import annotations

from evalkit.media.arms import ARMS as ARMS
from evalkit.media.arms import ImageArm as ImageArm
from evalkit.media.arms import image_arms as image_arms
from evalkit.media.arms import in_arm as in_arm
from evalkit.media.documents import open_images as open_images
from evalkit.media.kept import keep_image as keep_image
from evalkit.media.message import interleaved as interleaved
from evalkit.media.ready import ready_messages as ready_messages
from evalkit.media.ready import ready_soon as ready_soon
from evalkit.media.rows import row_image as row_image
from evalkit.util.moved import former_names

__getattr__ = former_names(__name__)
