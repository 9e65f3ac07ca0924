# `nix build .#checks.x86_64-linux.vm`: two machines with the modules as a host would use them. Documents are indexed
# against the tests' scripted LLM server and a question is answered from them; a gevent worker is killed in mid-build;
# the last index is built by a machine that runs nothing but a gevent worker.
{ pkgs, self }:
let
  inherit (pkgs) lib;
  port = 9000;
  # Of the test alone: real ones lie outside the store, and the modules refuse others.
  password = "only-in-this-test";
  secret = name: text: {
    environment.etc."fileintel/${name}" = {
      inherit text;
      mode = "0400";
    };
  };

  scripts = lib.fileset.toSource {
    root = ../tests;
    fileset = lib.fileset.unions [
      ../tests/llm_batching.py
      ../tests/llm_counts.py
      ../tests/llm_http.py
      ../tests/llm_script.py
      ../tests/llm_server.py
    ];
  };
  # The scripted server reads the graph from sentences: each text is a clique of made-up people, joined to the next
  # one's. Each corpus has people of its own, for what was asked before is not asked again.
  corpus =
    pkgs.runCommandLocal "fileintel-vm-corpus" { nativeBuildInputs = [ pkgs.fileintel.environment ]; }
      ''
        PYTHONPATH=${scripts} python - <<'END'
        import itertools, os
        from pathlib import Path
        from llm_script import made_up_name
        for turn, corpus in enumerate(("first", "second", "third")):
            folder = Path(os.environ["out"], corpus)
            folder.mkdir(parents=True)
            for number in range(12):
                *names, other = (made_up_name(turn * 1000 + number * 6 + index) for index in range(7))
                pairs = [*itertools.combinations(names, 2), (names[-1], other)]
                folder.joinpath(f"{number:02}.txt").write_text(" ".join(f"{one} knows {two}." for one, two in pairs))
        END
      '';

  paper = ../fileintel/demo/documents/forensic-report.pdf;

  common =
    { pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];
      virtualisation = {
        memorySize = 6144;
        cores = 2;
        diskSize = 8192;
      };
      environment.systemPackages = [ pkgs.jq ];
      systemd.services.llm-server = {
        description = "Scripted LLM server";
        wantedBy = [ "multi-user.target" ];
        serviceConfig = {
          ExecStart = lib.concatStringsSep " " [
            "${pkgs.fileintel.environment}/bin/python ${scripts}/llm_server.py"
            "--port ${toString port} --stay --latency 0.5"
          ];
          DynamicUser = true;
        };
      };
      services.fileintel = {
        enable = true;
        settings = {
          OPENAI_BASE_URL = "http://127.0.0.1:${toString port}/v1";
          FILEINTEL_CHAT_MODEL = "scripted";
          FILEINTEL_EMBEDDING_MODEL = "scripted-embedding";
        };
        workers.graphrag.memoryMax = "3G";
        workers.graphrag.memoryReservation = "256M";
      };
    };
in
{
  name = "fileintel";

  nodes.machine = {
    imports = [
      common
      (secret "postgres" password)
      (secret "redis" password)
    ];
    services.fileintel = {
      openFirewall = true;
      postgres = {
        # The test's machines find each other by IPv6 first.
        allowedNetworks = [
          "192.168.1.0/24"
          "2001:db8:1::/64"
        ];
        passwordFile = "/etc/fileintel/postgres";
      };
      redis.broker = {
        bind = "0.0.0.0";
        passwordFile = "/etc/fileintel/redis";
      };
      workers.main = {
        concurrency = 2;
        memoryMax = "4G";
      };
      settings.FILEINTEL_PARSER_MEMORY = "1G";
      backup.enable = true;
    };
  };

  nodes.puller = {
    imports = [
      common
      (secret "environment" ''
        DATABASE_URL=postgresql://fileintel:${password}@machine:5432/fileintel
        REDIS_URL=redis://:${password}@machine:6379/0
      '')
    ];
    services.fileintel = {
      roles = [ "gevent-worker" ];
      environmentFile = "/etc/fileintel/environment";
    };
  };

  testScript = ''
    import json

    limits = {
        "fileintel-worker-graphrag": 3 << 30,
        "fileintel-worker-main": 4 << 30,
        "postgresql": 8 << 30,
        "redis-fileintel-broker": 3 << 30,
        "redis-fileintel-cache": 3 << 30,
    }


    def show(node, unit, name):
        return node.succeed(f"systemctl show --property={name} --value {unit}.service").strip()


    def shows(node, unit, name, value):
        shown = show(node, unit, name)
        assert shown == value, f"{unit}: {name} is {shown!r}, not {value!r}"


    def counts(what):
        stats = "http://127.0.0.1:${toString port}/control/stats"
        return f"curl --fail --silent {stats} | jq --exit-status '.{what} > 0'"


    def status(name):
        return json.loads(machine.succeed(f"fileintel-manage graphrag status {name} --json"))


    def upload(name):
        machine.succeed(f"fileintel-manage collection create {name}")
        machine.succeed(f"fileintel-manage document add {name} ${corpus}/{name} --recursive --wait")


    def complete(name):
        machine.wait_until_succeeds(
            f"fileintel-manage graphrag status {name} --json | jq -e '.progress.run.state == \"complete\"'", 600
        )


    machine.start()
    machine.wait_for_unit("postgresql.target")
    machine.wait_for_unit("fileintel-api.service")
    machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8700/health/ready", 300)
    machine.wait_for_file("/var/lib/fileintel/admin.key")

    with subtest("limits are those of the options"):
        for unit, limit in limits.items():
            shows(machine, unit, "MemoryMax", str(limit))
        shows(machine, "fileintel-worker-graphrag", "MemoryLow", str(256 << 20))
        shows(machine, "fileintel-worker-graphrag", "OOMPolicy", "kill")
        for unit in limits:
            shows(machine, unit, "NRestarts", "0")

    with subtest("secrets are in no environment that others read"):
        machine.fail("systemctl show --property=Environment 'fileintel-*' | grep -q 'redis://'")
        machine.fail("su nobody -s /bin/sh -c 'cat /var/lib/fileintel/admin.key'")

    with subtest("a PDF is read behind the worker's hardening"):
        machine.succeed("fileintel-manage collection create paper")
        machine.succeed("fileintel-manage document add paper ${paper} --wait")

    with subtest("documents become a graph, and a question an answer with its source"):
        upload("first")
        machine.succeed("fileintel-manage graphrag index first --wait", timeout=900)
        said = machine.succeed("fileintel-manage query first 'Who knows whom?' --mode local --json")
        answer = json.loads(said)["answer"]
        assert answer["citations"], answer
        assert answer["index_version"] is not None

    with subtest("an index run survives the gevent worker"):
        upload("second")
        machine.succeed("fileintel-manage graphrag index second")
        machine.wait_until_succeeds(counts("in_flight"))
        machine.succeed("systemctl kill --signal=KILL fileintel-worker-graphrag.service")
        complete("second")
        assert int(show(machine, "fileintel-worker-graphrag", "NRestarts")) >= 1

    with subtest("another machine's gevent worker builds alone"):
        puller.start()
        puller.wait_for_unit("fileintel-worker-graphrag.service")
        puller.fail("systemctl cat fileintel-api.service")
        machine.succeed("systemctl stop fileintel-worker-graphrag.service")
        upload("third")
        machine.succeed("fileintel-manage graphrag index third")
        complete("third")
        puller.succeed(counts("answered"))

    with subtest("a copy is made"):
        machine.succeed("systemctl start fileintel-backup.service")
        machine.succeed("ls /var/lib/fileintel/backups/fileintel-*.dump /var/lib/fileintel/backups/blobs")

    with subtest("everything comes back by itself"):
        machine.shutdown()
        machine.start()
        machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8700/health/ready", 300)
        assert status("first")["progress"]["run"]["state"] == "complete"
  '';
}
