# The guest makes names of 255 bytes, nested 60 deep, of all bytes.
# Must: the tools of the host cope.
# Slow.
### claude
python3 -c '
import os, sys
os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])
for i in range(60):
    n = bytes(b for b in range(1, 256) if b != 47)[:254]; os.mkdir(n); os.chdir(n)
open(".envrc", "w").close()' "$NAME"
### host
timeout 60 claude-vm-ctl guard | has "$NAME"
rm -r "$NAME"
