"""Looking inside a loaded engine: what every stage of one pass holds, read, or put in from another engine's.

On demand and beside `score`: nothing of an engine imports this room, so it is in no recording's key, and an
engine that is not traced has no hook. `stages` names the stages, `places` says where a model has them,
`recorder` reads and puts in, `torch_tracer` and `lmdeploy_tracer` know how a pass is made, `sketches` what is
kept of it.
"""
