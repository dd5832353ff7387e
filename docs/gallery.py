"""The gallery: examples run at their full size, their pictures and what they print kept beside the page that shows them.

python docs/gallery.py                      # all that need no trained run, a quarter of an hour on two cores
python docs/gallery.py smoke_to_target      # these
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"

#: What each example draws, if anything, below the folder it is run in.
PICTURES: dict[str, str | None] = {
    "your_own_pde": "outputs/your_own_pde/heater.png",
    "stokes_boundary_control": None,
    "smoke_to_target": "outputs/examples/smoke_to_target.png",
    "inverse_darcy": "outputs/examples/inverse_darcy.png",
    "initial_state": "outputs/initial_state/initial_state.png",
}


def run(name: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / f"{name}.py")], cwd=HERE.parent, text=True, stdout=subprocess.PIPE)
    done.check_returncode()
    (HERE / "gallery" / f"{name}.txt").write_text(done.stdout)
    if picture := PICTURES[name]:
        (HERE / "images" / f"{name}.png").write_bytes((HERE.parent / picture).read_bytes())


if __name__ == "__main__":
    (HERE / "gallery").mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        run(name)
