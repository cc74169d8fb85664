"""Where two engines part: the stage at which a difference begins, held against each stage's own noise.

`session` has engines traced, `distances` holds two traces side by side, `noise` knows how far a stage moves
when nothing that matters changed, `first_stage` is the rule by which a stage is named, `graft` the proof.
"""
