# Root in the guest sends data to a name server of its own, as parts of names that it looks up.
# Must: no name that is not allowed goes to the Internet: the answer is an address of the gateway's own, or none.
# VM: allow
# Slow.
### root
dns example.com A | has 198.1
dns "$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n').other.test" A >out
grep -v '^198\.1[89]\.' out | hasnot .
