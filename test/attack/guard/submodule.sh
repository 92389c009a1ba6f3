# The guest changes hooks and the configuration of a submodule, which are below .git/modules.
# Must: the user is told.
### claude
mkdir -p .git/modules/lib/hooks .git/modules/lib/objects .git/modules/lib/refs
echo x >.git/modules/lib/HEAD && echo evil >.git/modules/lib/config && echo evil >.git/modules/lib/hooks/pre-commit
### host
claude-vm-ctl guard | has '.git/modules/lib'
rm -r .git/modules
