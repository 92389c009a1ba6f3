# Root in the guest changes the user's CLAUDE.md and skills, of which the VM has a copy.
# Must: the copy is read-only, and the originals are elsewhere.
### root
if [ -d /run/claude-vm/claude ]; then
	fails touch /run/claude-vm/claude/evil
	mount -o remount,rw /run/claude-vm/claude 2>/dev/null || :
	fails touch /run/claude-vm/claude/evil
fi
fails ls /home/dev/.claude
