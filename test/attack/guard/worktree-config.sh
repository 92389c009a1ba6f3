# The guest adds a configuration for one worktree, which git obeys if the repository has the extension.
# Must: the user is told.
### claude
echo evil >.git/config.worktree
### host
claude-vm-ctl guard | has '.git/config.worktree'
rm .git/config.worktree
