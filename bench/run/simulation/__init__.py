"""How long a run would take on more devices, foretold from the measured times of a small one."""
