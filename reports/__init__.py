"""Reading a run folder: leaderboards, tables and the page. Nothing in here computes a score."""
