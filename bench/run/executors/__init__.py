"""Where shards are worked through: each executor has ``run(work, shards)`` and yields results in any order."""
