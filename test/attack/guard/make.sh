# The guest plants files that make and other runners execute.
# Must: the user is told of each.
# Slow.
### claude
plant Makefile GNUmakefile a.mk justfile .justfile Taskfile.yml Rakefile noxfile.py tasks.py dodo.py \
	SConstruct wscript Earthfile Procfile
### host
reported Makefile GNUmakefile a.mk justfile .justfile Taskfile.yml Rakefile noxfile.py tasks.py dodo.py \
	SConstruct wscript Earthfile Procfile
