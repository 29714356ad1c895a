"""Official weights files: list (catalogue), recognise (layouts), find (cache), fetch, and build networks from them (build)."""
