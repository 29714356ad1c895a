"""Foreign methods: code of others, with a Python of its own, behind a command and a folder.

A start of the command gets a new folder, the exchange. Paths in it are placeholders of the command, and variables of its
environment (``INVBENCH_INPUTS``, ...):

    inputs/NAME.png               {inputs}   given: the pictures, 8-bit RGB
    outputs/NAME.png              {outputs}  wanted: the reconstructions, of the same size
    latents/NAME.safetensors      {latents}  may be given: "latents" [L, D], the latents in W or W+
    edits/age_+3/NAME.png         {edits}    wanted of the command for edits: the edit at a strength of the suite
    edits.json                               given: the edits that are asked for
    times.json                    {times}    may be given: NAME -> seconds, or NAME -> stage -> seconds
    edits/age_+3/times.json                  the same for an edit
    work/                         {work}     the command's own; what inversion leaves there edits find again

:mod:`.collect` starts the commands, alone on their device, before a cell's rows are made; :mod:`.collected` is the method that
gives what they left, so that rows, scores and failures are made as for any other. :mod:`.process` watches and ends a process
with all that it started; :mod:`.exchange` reads what it left and trusts none of it.
"""
