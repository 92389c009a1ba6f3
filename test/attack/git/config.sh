# Root in the guest sets core.fsmonitor, core.hooksPath, an alias and an ssh command in .git/config.
# Must: refused.
### root
for key in core.fsmonitor core.hooksPath alias.status core.sshCommand filter.x.clean diff.external core.pager; do
	fails git -c safe.directory='*' config "$key" 'touch /tmp/evil'
done
fails sh -c 'echo evil >>.git/config'
fails sh -c 'rm -f .git/config'
### host
git config --local --list | hasnot evil
