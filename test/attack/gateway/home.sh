# The gateway reads files of the user or changes them.
# Must: it sees an empty home directory.
# VM: taken
### host
echo SECRET >~/attack-secret
### gateway
[ -z "$(ls -A /home/dev)" ]
fails touch /home/dev/.bashrc
