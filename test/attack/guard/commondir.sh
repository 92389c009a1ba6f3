# Root in the guest makes git on the host use another repository, by .git/commondir.
# Must: the user is told.
### root
mkdir -p evil/hooks && echo ../evil >.git/commondir
### host
claude-vm-ctl guard | has '.git/commondir'
rm -r .git/commondir evil
