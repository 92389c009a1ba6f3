# The guest plants files that Python executes when it starts in this directory.
# Must: the user is told of each.
# Slow.
### claude
plant sitecustomize.py usercustomize.py conftest.py
### host
reported sitecustomize.py usercustomize.py conftest.py
