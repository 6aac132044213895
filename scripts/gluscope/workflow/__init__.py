"""Starting again after a start that died: jobs still in SLURM's queue, locks and marks that it left behind."""
