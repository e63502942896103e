"""transformers' Trainer: a ResNet of the library on scikit-learn's digits."""

import torch
import torch.nn.functional as F
import transformers
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

CONFIG = {"num_channels": 1, "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}


def digits():
    bunch = load_digits()
    images = F.interpolate(torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, size=16)
    data = [{"pixel_values": x, "labels": int(y)} for x, y in zip(images, bunch.target, strict=True)]
    return data[:1000], data[1000:1200], data[1200:]


def accuracy(prediction):
    return {"accuracy": (prediction.predictions.argmax(1) == prediction.label_ids).mean()}


def train(seed=0, folder="runs", epochs=2, lr=0.01):
    transformers.set_seed(seed)
    fit, validation, test = digits()
    model = ResNetForImageClassification(ResNetConfig(**CONFIG, num_labels=10))
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=folder,
            seed=seed,
            num_train_epochs=epochs,
            per_device_train_batch_size=64,
            per_device_eval_batch_size=256,
            learning_rate=lr,
            weight_decay=0.01,
            eval_strategy="epoch",
            logging_strategy="epoch",
            save_strategy="epoch",
            use_cpu=True,
            dataloader_pin_memory=False,
            report_to="none",
        ),
        train_dataset=fit,
        eval_dataset=validation,
        compute_metrics=accuracy,
    )
    trainer.train()
    return {"accuracy": trainer.predict(test).metrics["test_accuracy"]}


if __name__ == "__main__":
    print(train())
