"""Official weights: what there is (catalogue), what a file is (layouts), where it lies (cache), how it comes (fetch), and what
becomes of it (build)."""
