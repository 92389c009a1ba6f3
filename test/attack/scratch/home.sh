# The server of the scratch disk reads files of the user.
# Must: it sees only the cache directory for these disks.
# VM: taken
### host
echo SECRET >~/attack-secret
### scratch
[ "$(find /home/dev -type f -o -type s)" = '' ]
[ "$(ls -A /home/dev)" = .cache ]
fails touch /home/dev/.bashrc
touch /home/dev/.cache/claude-vm/scratch/attack && rm /home/dev/.cache/claude-vm/scratch/attack
