// Browsers start no worker for a page that was opened from a folder. There, a hidden frame runs the worker's script, so
// that search works without a server. The offline plugin of mkdocs-material would load such a script from the network.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      // Workers load scripts at once; a page waits for each, and mkdocs-material's worker waits for what this returns.
      inside.importScripts = async (...urls) => {
        for (const each of urls) await load(inside, each);
      };
      this.ready = load(inside, url);
    }

    async postMessage(data) {
      await this.ready;
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };

  window.Worker = window.IFrameWorker; // the worker looks for the other name, to find the scripts that it loads

  function load(inside, url) {
    return new Promise((resolve, reject) => {
      const script = inside.document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = reject;
      inside.document.body.append(script);
    });
  }
}
