"""Served worlds for the client `runway-robotics-sdk`: its requests, put into sessions of ours."""
