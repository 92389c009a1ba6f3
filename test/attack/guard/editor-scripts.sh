# The guest plants files that editors and debuggers execute when they open a file or a program.
# Must: the user is told of each.
# Slow.
### claude
plant .vimrc .exrc .nvimrc .nvim.lua .dir-locals.el .dir-locals-2.el .gdbinit .lldbinit .sublime-project \
	.projectile
### host
reported .vimrc .exrc .nvimrc .nvim.lua .dir-locals.el .dir-locals-2.el .gdbinit .lldbinit \
	.sublime-project .projectile
