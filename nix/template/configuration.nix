# One host that runs everything but the LLM server. `nixos-rebuild switch --flake .#documents`
{
  services.fileintel = {
    enable = true;
    settings = {
      OPENAI_BASE_URL = "http://vllm.example:8000/v1";
      FILEINTEL_CHAT_MODEL = "your/model";
      FILEINTEL_EMBEDDING_BASE_URL = "http://vllm.example:8001/v1";
      FILEINTEL_EMBEDDING_MODEL = "your/embedding-model";
      FILEINTEL_EMBEDDING_DIMENSIONS = 1024;
      # `fileintel config sizing --memory 64G` works these out for a host.
      CELERY_GRAPHRAG_CONCURRENCY = 200;
      CELERY_WORKER_CONCURRENCY = 8;
    };
    # OPENAI_API_KEY=… and other secrets, in a file that only root reads and that is not in the store.
    environmentFile = "/etc/fileintel/environment";
  };

  # The machine itself: replace this by your hardware-configuration.nix.
  fileSystems."/".device = "/dev/disk/by-label/nixos";
  boot.loader.grub.device = "/dev/sda";
  networking.hostName = "documents";
  system.stateVersion = "26.05";
}
