"""Boosted trees of any framework as one TreeEnsemble node, with what comes before and behind it."""
