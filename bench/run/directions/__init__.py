"""Work on edit directions: what is read of their pictures, fits, files that are added, effect and leakage."""
