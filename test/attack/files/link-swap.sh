# Root in the guest swaps a directory for a link to the user's home, again and again, while it writes through it.
# Must: nothing arrives outside of the work directory.
# Slow.
### host
mkdir -p ~/attack-swap "$NAME/dir" && ln -sfn ~/attack-swap "$NAME/link"
### root
cd "$NAME"
timeout 5 sh -c 'while :; do mv dir x; mv link dir; mv dir link; mv x dir; done' 2>/dev/null &
for i in $(seq 300); do echo evil >"dir/$i" 2>/dev/null || :; done
wait || :
ls dir | grep -q . || ls x | grep -q .
### host
[ -z "$(ls -A ~/attack-swap)" ]
