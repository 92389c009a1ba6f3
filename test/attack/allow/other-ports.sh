# Root in the guest connects to another port than the one that is allowed of a name.
# Must: denied.
# VM: allow
# Slow.
### root
fetch https://git.test/ | hasnot 'curl:'
fetch http://git.test/ | has 'claude-vm denied the connection to git.test:80'
fails timeout 20 bash -c 'exec 3<>/dev/tcp/git.test/7 && echo x >&3 && read -t 9 -r line <&3 && [ "$line" = x ]'
