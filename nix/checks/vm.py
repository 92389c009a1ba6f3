def alice(command):
    return f"su - alice -c 'export XDG_RUNTIME_DIR=/run/user/1000; {command}'"


machine.wait_for_unit("user@1000.service")
machine.succeed(alice("mkdir web; echo from the host > web/file"))

# The settings of the configuration are applied, and all files are valid.
environment = machine.succeed(
    alice("systemctl --user show -P Environment claude-vm@$(claude-vm-ctl id web)")
)
assert "MEMORY=1536M" in environment, environment
machine.succeed(alice("claude-vm-ctl generate --dry-run >&2"))

# The VM starts, shares the work directory, and the guest's journal is in the host's.
machine.succeed(alice("ANTHROPIC_API_KEY=x claude-vm-ctl start web"), timeout=1500)
shell = machine.succeed(alice("claude-vm-ctl shell web -- cat file"))
assert shell == "from the host\n", shell
machine.succeed(
    alice("claude-vm-ctl shell web -- sh -c \"echo from the guest > made\"")
)
assert machine.succeed("cat /home/alice/web/made") == "from the guest\n"
assert machine.succeed("stat -c %U /home/alice/web/made") == "alice\n"
journal = machine.succeed(
    alice("journalctl --user -u claude-vm@$(claude-vm-ctl id web)")
)
assert "Started Agent of claude-vm" in journal, journal

# No process is left after the VM is stopped.
machine.succeed(alice("claude-vm-ctl stop web"), timeout=300)
machine.fail("pgrep -u alice qemu")
machine.fail("pgrep -u alice virtiofsd")
