# The guest selects a filter of the user's configuration for all files, in .git/info/attributes.
# Must: the user is told.
### claude
mkdir -p .git/info && echo '* filter=lfs' >.git/info/attributes
### host
claude-vm-ctl guard | has '.git/info/attributes'
rm .git/info/attributes
