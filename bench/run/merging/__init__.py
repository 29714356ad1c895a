"""Run folders of one suite put together into one: :func:`invbench.run.merging.merge.merge`."""
