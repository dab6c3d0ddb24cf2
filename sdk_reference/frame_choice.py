"""From a film to a capture: which frame saw which colour, and how far the camera wandered meanwhile.

Works on thumbnails of the place where the face was found before the flash: their mean colours tell at what lag the
frames follow the screen (`flash_sequencer.lag`), and which frame of a step is the sharpest. Not in the paper.
"""

from __future__ import annotations
