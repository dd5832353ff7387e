"""The gallery: examples run at their full size, their pictures and what they print kept beside the page that shows them.

python docs/gallery.py                      # all that need no trained run, twenty minutes on two cores
python docs/gallery.py smoke_to_target      # these
"""

import subprocess
import sys
from pathlib import Path

from indexed_colours import shrink

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"

#: What each example draws, below the folder it is run in.
PICTURES = {
    "your_own_pde": "outputs/your_own_pde/heater.png",
    "sound_in_a_room": "outputs/sound_in_a_room/sound.png",
    "stokes_boundary_control": "outputs/examples/stokes_boundary_control.png",
    "duct_shape": "outputs/examples/duct_shape.png",
    "smoke_to_target": "outputs/smoke_to_target/smoke_to_target.png",
    "inverse_darcy": "outputs/examples/inverse_darcy.png",
    "initial_state": "outputs/initial_state/initial_state.png",
    "coarse_to_fine": "outputs/coarse_to_fine/coarse_to_fine.png",
}
#: Those that show no fields, whose few colours are not those of their maps.
CURVES = {"initial_state"}


def run(name: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / f"{name}.py")], cwd=HERE.parent, text=True, stdout=subprocess.PIPE)
    done.check_returncode()
    (HERE / "gallery" / f"{name}.txt").write_text(done.stdout)
    picture = HERE / "images" / f"{name}.png"
    picture.write_bytes((HERE.parent / PICTURES[name]).read_bytes())
    if name not in CURVES:
        shrink(picture)


if __name__ == "__main__":
    (HERE / "gallery").mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        run(name)
