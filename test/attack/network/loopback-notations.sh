# Root in the guest writes the host's loopback in all its ways: short, decimal, octal, hexadecimal, mapped, zero.
# Must: nothing answers.
# Slow.
### root
for to in 127.1 127.0.0.1 2130706433 0x7f000001 017700000001 0 0.0.0.0 '[::1]' '[::]' '[::ffff:127.0.0.1]' '[::ffff:7f00:1]' '[64:ff9b::7f00:1]'; do
	fetch "http://$to:$API/v1/models" | hasnot '"type"'
done
