# Root in the guest looks for the API key in all its files, environments and settings of the kernel.
# Must: only the placeholder is there.
### root
grep -q sk-ant-claude-vm /proc/*/environ
fails grep -qE 'sk-ant-test-[0-9]{20}' /proc/*/environ /proc/*/cmdline /proc/cmdline
fails grep -rqsE 'sk-ant-test-[0-9]{20}' /run /etc /home /root /tmp /var
dmesg 2>/dev/null | grep -E 'sk-ant-test-[0-9]{20}' && broken 'in dmesg'
fails grep -rqsE 'sk-ant-test-[0-9]{20}' /sys/firmware /sys/class/dmi
