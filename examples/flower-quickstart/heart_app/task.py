"""heart_app: A Flower / PyTorch app."""

from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
FOLDER = Path(__file__).parent / "data"
CENTRE = torch.tensor([54.0, 0.5, 2.5, 132.0, 200.0, 0.2, 0.5, 140.0, 0.4, 1.0])
SPREAD = torch.tensor([10.0, 0.5, 1.0, 20.0, 100.0, 0.4, 0.8, 25.0, 0.5, 1.0])


class Net(nn.Module):
    """Model (a small multilayer perceptron)"""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 16)
        self.norm = nn.GroupNorm(4, 16)
        self.fc2 = nn.Linear(16, 2)

    def forward(self, x):
        return self.fc2(F.relu(self.norm(self.fc1(x))))


def load_hospital(name):
    """Read the complete rows of one hospital."""
    rows = []
    for line in (FOLDER / f"processed.{name}.data").read_text().splitlines():
        values = line.split(",")
        kept = [*values[:10], values[13]]
        if "?" not in kept:
            rows.append([float(value) for value in kept])
    table = torch.tensor(rows)
    return TensorDataset((table[:, :10] - CENTRE) / SPREAD, (table[:, 10] > 0).long())


def load_data(partition_id, num_partitions, batch_size):
    """Load the partition of one hospital."""
    dataset = load_hospital(HOSPITALS[partition_id % num_partitions])
    # Divide data on each node: 80% train, 20% test
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(42)).tolist()
    cut = int(0.8 * len(dataset))
    trainloader = DataLoader(Subset(dataset, order[:cut]), batch_size=batch_size, shuffle=True)
    testloader = DataLoader(Subset(dataset, order[cut:]), batch_size=batch_size)
    return trainloader, testloader


def load_centralized_dataset():
    """Load the test rows of all hospitals."""
    parts = [load_data(number, len(HOSPITALS), 32)[1].dataset for number in range(len(HOSPITALS))]
    return DataLoader(torch.utils.data.ConcatDataset(parts), batch_size=128)


def train(net, trainloader, epochs, lr, device):
    """Train the model on the training set."""
    net.to(device)
    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    running_loss = 0.0
    for _ in range(epochs):
        for rows, labels in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(rows.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


def test(net, testloader, device):
    """Validate the model on the test set."""
    net.to(device)
    criterion = nn.CrossEntropyLoss()
    correct, loss = 0, 0.0
    with torch.no_grad():
        for rows, labels in testloader:
            outputs = net(rows.to(device))
            loss += criterion(outputs, labels.to(device)).item()
            correct += (outputs.argmax(dim=1) == labels.to(device)).sum().item()
    return loss / len(testloader), correct / len(testloader.dataset)
