"""A user study of a run: blinded pages of A/B pairs, and the score of the answers that raters send back."""
