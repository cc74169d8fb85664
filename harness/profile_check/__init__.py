"""`harness profile check NAME`: what can be known of a profile before any weights are loaded.

==================  =================================================================================
``checking.py``     which looks an engine gets, in which order
``model_files.py``  a model's folder: configuration, weights, tokenizer, template, processor
``safetensors.py``  headers of weight files
``settings.py``     combinations of dtype, device and options that an engine refuses
``environment.py``  the engine's environment: made or not, and whether it loads the engine there
``server.py``       whether a server that is said to run answers
``letters.py``      letters in context, by the tokenizer alone, in the engine's interpreter
``memory.py``       the estimate of `harness.profile_check.memory_estimate` for an engine, as a table
``places.py``       where in profiles.yaml a field stands
``published.py``    shapes of the models of the ready profiles, for as long as their files are not there
==================  =================================================================================

Runs in the harness's own process and imports no engine; what needs an engine's libraries is asked of the
engine's own interpreter.
"""
