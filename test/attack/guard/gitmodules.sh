# The guest plants a file that git submodule clones from.
# Must: the user is told of each.
# Slow.
### claude
plant .gitmodules
### host
reported .gitmodules
