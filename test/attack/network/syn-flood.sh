# Root in the guest opens thousands of connections and ends none.
# Must: they are limited; later connections work, and the gateway has less memory than its limit.
# Slow.
### root
raw syns 5000
sleep 5
fetch http://example.com/ | has 'example.com at'
### host
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$(systemctl --user show --value -p MainPID "claude-vm-gateway@$ID.service")/status")
[ "$rss" -lt 300000 ]
