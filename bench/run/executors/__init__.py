"""What works through the tasks of a run: :class:`invbench.run.work.Executor` in this process or in workers."""
