# The guest hides a planted file below directories that are nested so deeply that a search would not end.
# Must: the search ends, and tells of the directory that it did not search.
### claude
mkdir "$NAME"
python3 -c '
import os, sys
os.chdir(sys.argv[1])
for _ in range(400): os.mkdir("d"); os.chdir("d")
open(".envrc", "w").close()' "$NAME"
### host
timeout 60 claude-vm-ctl guard | has "$NAME/d/d"
rm -r "$NAME"
