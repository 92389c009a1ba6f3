# The guest plants so many files that the report would have no end.
# Must: the report ends, and status prints few lines.
# Slow.
### claude
python3 -c '
import os, sys
for i in range(1500):
    os.makedirs("%s/d%d" % (sys.argv[1], i)); open("%s/d%d/.envrc" % (sys.argv[1], i), "w").close()' "$NAME"
### host
timeout 60 claude-vm-ctl guard --json >/dev/null
[ "$(claude-vm-ctl status -n0 | wc -l)" -lt 60 ]
rm -r "$NAME"
