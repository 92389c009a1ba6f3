# Root in the guest moves .git away and makes another one, with its own configuration.
# Must: refused, or the user is told.
### root
if mv .git .git2 2>/dev/null; then
	mkdir .git && cp -r .git2/HEAD .git2/objects .git2/refs .git/ && printf '[core]\n\tfsmonitor = touch /tmp/evil\n' >.git/config
fi
### host
if [ -e .git2 ]; then
	claude-vm-ctl guard | has .git/config
	rm -rf .git && mv .git2 .git
fi
git status >/dev/null
